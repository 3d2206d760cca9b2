package realkafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Ports are taken from below the range systems give to outgoing connections. There, a
// client that redials a stopped broker could be given the broker's own port as its
// source, connect to itself and keep the broker from coming back.
const (
	firstPort = 20000
	lastPort  = 23999
)

// portLease is a port no other launcher on this machine (with the same cache folder)
// will use until it is released, also while the broker that owns it is down.
type portLease struct {
	port int
	lock *os.File
}

// leasePorts returns n free ports on 127.0.0.1. The locks are files in cache/ports that
// stay behind, empty; at most one for each port of the range.
func leasePorts(cache string, n int) ([]portLease, error) {
	dir := filepath.Join(cache, "ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("realkafka: ports: %w", err)
	}
	var leases []portLease
	for _, offset := range rand.Perm(lastPort - firstPort + 1) {
		if len(leases) == n {
			return leases, nil
		}
		lease, ok, err := leasePort(dir, firstPort+offset)
		if err != nil {
			releasePorts(leases)
			return nil, err
		}
		if ok {
			leases = append(leases, lease)
		}
	}
	releasePorts(leases)
	return nil, errors.New("realkafka: no free port between " + strconv.Itoa(firstPort) + " and " + strconv.Itoa(lastPort))
}

func leasePort(dir string, port int) (portLease, bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return portLease{}, false, fmt.Errorf("realkafka: ports: %w", err)
	}
	ok, err := tryLock(f)
	if err != nil || !ok {
		f.Close()
		return portLease{}, false, err
	}
	// Somebody else's server may sit there.
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		f.Close()
		return portLease{}, false, nil
	}
	l.Close()
	return portLease{port: port, lock: f}, true, nil
}

func releasePorts(leases []portLease) {
	for _, l := range leases {
		l.lock.Close()
	}
}
