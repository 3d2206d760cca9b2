package realkafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// clientListener is the listener clients see; its settings are written as
// listener.name.client.*. Brokers talk to each other and to the controllers over
// plaintext listeners of their own, so that client security never decides whether a
// cluster comes up.
const (
	clientListener = "CLIENT"
	clientPrefix   = "listener.name.client."
)

// nodePlan is where one broker lives. All ports are on 127.0.0.1.
type nodePlan struct {
	id             int
	clientPort     int
	internalPort   int
	controllerPort int
	dir            string
}

// credentials is what the brokers need to know to check clients.
type credentials struct {
	adminPassword string
	keystore      string // PEM file with key and certificate; "" without TLS
	truststore    string // PEM file of the authority of clients' certificates; "" without TLS
}

// brokerProperties returns the server.properties of node n of the cluster all. Pure.
func brokerProperties(o Options, n nodePlan, all []nodePlan, cred credentials) map[string]string {
	replicas := strconv.Itoa(len(all))
	minISR := "1"
	if len(all) == 3 {
		minISR = "2"
	}
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(n.id),
		"controller.quorum.voters":       quorumVoters(all),
		"log.dirs":                       n.dir + "/data",
		"listeners":                      fmt.Sprintf("%s://127.0.0.1:%d,INTERNAL://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", clientListener, n.clientPort, n.internalPort, n.controllerPort),
		"advertised.listeners":           fmt.Sprintf("%s://127.0.0.1:%d,INTERNAL://127.0.0.1:%d", clientListener, n.clientPort, n.internalPort),
		"listener.security.protocol.map": fmt.Sprintf("%s:%s,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT", clientListener, clientProtocol(o)),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "INTERNAL",

		// The default of 128 MiB is taken from the heap at start: small heaps die.
		"log.cleaner.dedupe.buffer.size": "4194304",

		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              minISR,
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    minISR,
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            minISR,

		// 50 partitions each is seconds of work for three brokers on a small machine.
		"offsets.topic.num.partitions":                 "8",
		"transaction.state.log.num.partitions":         "8",
		"share.coordinator.state.topic.num.partitions": "8",

		// A killed broker can come back only after its old session has run out, and
		// its partitions move only then.
		"broker.session.timeout.ms":    "4000",
		"broker.heartbeat.interval.ms": "1000",

		"auto.create.topics.enable":        "false",
		"file.delete.delay.ms":             "1000",
		"group.initial.rebalance.delay.ms": "0",
		"group.min.session.timeout.ms":     "1000",
	}
	addTLS(p, o, cred)
	addSASL(p, o, cred)
	if o.ACLs {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		// ANONYMOUS is whoever comes over the two plaintext listeners: the brokers.
		p["super.users"] = "User:" + AdminUser + ";User:ANONYMOUS"
	}
	for k, v := range o.Properties {
		if v == "" {
			delete(p, k)
			continue
		}
		p[k] = v
	}
	return p
}

func quorumVoters(all []nodePlan) string {
	voters := make([]string, 0, len(all))
	for _, n := range all {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", n.id, n.controllerPort))
	}
	return strings.Join(voters, ",")
}

// clientProtocol is Kafka's name for the security of the client listener.
func clientProtocol(o Options) string {
	switch {
	case o.SASL != "" && o.TLS:
		return "SASL_SSL"
	case o.SASL != "":
		return "SASL_PLAINTEXT"
	case o.TLS:
		return "SSL"
	}
	return "PLAINTEXT"
}

func addTLS(p map[string]string, o Options, cred credentials) {
	if !o.TLS {
		return
	}
	prefix := clientPrefix + "ssl."
	p[prefix+"keystore.type"] = "PEM"
	p[prefix+"keystore.location"] = cred.keystore
	p[prefix+"client.auth"] = "none"
	if o.ClientCertificates {
		p[prefix+"client.auth"] = "required"
		p[prefix+"truststore.type"] = "PEM"
		p[prefix+"truststore.location"] = cred.truststore
	}
}

func addSASL(p map[string]string, o Options, cred credentials) {
	prefix := clientPrefix
	switch o.SASL {
	case SASLPlain:
		var jaas strings.Builder
		jaas.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
		fmt.Fprintf(&jaas, " user_%s=%q", AdminUser, cred.adminPassword)
		for _, name := range slices.Sorted(maps.Keys(o.Users)) {
			fmt.Fprintf(&jaas, " user_%s=%q", name, o.Users[name])
		}
		jaas.WriteString(";")
		p[prefix+"plain.sasl.jaas.config"] = jaas.String()
	case SASLScramSHA256:
		p[prefix+"scram-sha-256.sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	default:
		return
	}
	p[prefix+"sasl.enabled.mechanisms"] = o.SASL
}

// encodeProperties writes p in Java's properties format, sorted by key.
func encodeProperties(p map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		b.WriteString(k)
		b.WriteByte('=')
		escapeProperty(&b, p[k])
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// escapeProperty escapes what the Java loader would change: backslashes, line ends,
// leading blanks, and whatever is not ASCII, since it reads files as Latin-1.
func escapeProperty(b *strings.Builder, v string) {
	leading := true
	for _, r := range v {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' && leading:
			b.WriteString(`\ `)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		case r < 0x20 || r > 0x7e:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		if r != ' ' {
			leading = false
		}
	}
}
