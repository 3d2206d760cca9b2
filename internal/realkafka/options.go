package realkafka

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// The SASL mechanisms [Options.SASL] accepts.
const (
	SASLPlain       = "PLAIN"
	SASLScramSHA256 = "SCRAM-SHA-256"
)

// Version is the Apache Kafka that [Start] starts.
const Version = kafkaVersion

// AdminUser is the super user of every cluster with SASL. Its password is random, see
// [Cluster.AdminPassword].
const AdminUser = "admin"

const (
	defaultHeapMiB = 256
	fastHeapMiB    = 1024
	minHeapMiB     = 64
)

// Options say which cluster [Start] builds. The zero value is one plaintext broker in a
// temporary directory. Options are copied; the maps must not change during Start.
type Options struct {
	// Brokers is 1 or 3; each is a broker and a controller. Defaults to 1.
	Brokers int

	// Dir receives configuration, logs and data. It must be empty or absent, and stays
	// after Close. Defaults to a temporary directory that Close removes.
	Dir string

	// SASL is "", SASLPlain or SASLScramSHA256. Defaults to "": no authentication.
	SASL string

	// Users are accounts beside AdminUser, name to password, without any rights of
	// their own. For PLAIN this is the only way to add one. Names and passwords are
	// limited to letters, digits, '.', '_' and '-'. Needs SASL.
	Users map[string]string

	// ACLs turns on Kafka's authorizer: everybody but AdminUser starts with no rights.
	// Needs SASL, because without it every client is the same anonymous super user.
	ACLs bool

	// TLS encrypts the client listener with a certificate of a throw-away authority, see
	// [Cluster.IssueCertificate].
	TLS bool

	// ClientCertificates has clients asked for a certificate of that authority, see
	// [Cluster.Authority]. Needs TLS. Defaults to asking for none.
	ClientCertificates bool

	// HeapMiB is the Java heap of each broker in MiB, at least 64. Defaults to 256, with
	// Fast to 1024.
	HeapMiB int

	// Fast is for benchmarks: the default compiler and collector of the virtual machine
	// instead of those that start quickest. Costs memory and processor time at start.
	Fast bool

	// Properties are added to every broker's server.properties, over what the launcher
	// writes. An empty value removes the property.
	Properties map[string]string

	// Log receives what the brokers print, each line prefixed by "broker N: ". Writes
	// are serialised. The same text is in Dir/broker-N/broker.log. Defaults to none.
	Log io.Writer
}

// withDefaults fills in what the caller left at zero.
func (o Options) withDefaults() Options {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.HeapMiB == 0 {
		o.HeapMiB = defaultHeapMiB
		if o.Fast {
			o.HeapMiB = fastHeapMiB
		}
	}
	return o
}

// plainWord is what survives JAAS quoting, the properties format and the argument
// syntax of the storage tool unescaped.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// validate reports the first thing Start cannot build. It expects defaults filled in.
func (o Options) validate() error {
	if o.Brokers != 1 && o.Brokers != 3 {
		return fmt.Errorf("realkafka: Options.Brokers is %d: use 1 or 3", o.Brokers)
	}
	if o.SASL != "" && o.SASL != SASLPlain && o.SASL != SASLScramSHA256 {
		return fmt.Errorf("realkafka: Options.SASL is %q: use %q, %q or leave it empty", o.SASL, SASLPlain, SASLScramSHA256)
	}
	if o.SASL == "" && len(o.Users) > 0 {
		return fmt.Errorf("realkafka: Options.Users needs Options.SASL: nobody logs in without it")
	}
	if o.SASL == "" && o.ACLs {
		return fmt.Errorf("realkafka: Options.ACLs needs Options.SASL: without it every client is the anonymous super user")
	}
	if o.ClientCertificates && !o.TLS {
		return fmt.Errorf("realkafka: Options.ClientCertificates needs Options.TLS: certificates are part of its handshake")
	}
	for name, password := range o.Users {
		if err := validateUser(name, password); err != nil {
			return err
		}
	}
	if o.HeapMiB < minHeapMiB {
		return fmt.Errorf("realkafka: Options.HeapMiB is %d: a broker needs at least %d", o.HeapMiB, minHeapMiB)
	}
	// log.dirs is a comma-separated list, so such a path would become two.
	if strings.Contains(o.Dir, ",") {
		return fmt.Errorf("realkafka: Options.Dir %q holds a comma, which Kafka takes for a list: use another path", o.Dir)
	}
	return nil
}

func validateUser(name, password string) error {
	if name == AdminUser {
		return fmt.Errorf("realkafka: user %q is the launcher's own: use another name", name)
	}
	if !plainWord.MatchString(name) || !plainWord.MatchString(password) {
		return fmt.Errorf("realkafka: user %q: name and password may only hold letters, digits, '.', '_' and '-'", name)
	}
	return nil
}
