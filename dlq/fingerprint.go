package dlq

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/waybill-dev/waybill/job"
)

// fingerprinted is how much of a normalised text counts: enough for a message and the top of a stack.
const fingerprinted = 1024

// Fingerprint is a short name, 16 hex digits, for failures of one cause: the hash of the code and of the text without what
// differs from job to job. Numbers, hexadecimal words, UUIDs, network addresses and long ids in the text do not count, so
// "user 17: timeout" and "user 18: timeout" share a fingerprint. It is stable across versions of Waybill.
func Fingerprint(code job.Code, text string) string {
	t := normalise(text)
	return fmt.Sprintf("%016x", xxhash.Sum64String(code.String()+"\n"+t[:min(len(t), fingerprinted)]))
}

var (
	uuids = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	// candidates for IPv6 addresses: hex digits, dots and at least two colons
	ipv6 = regexp.MustCompile(`[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*`)
	// a word: what a number, a hexadecimal number or an id may be made of
	words = regexp.MustCompile(`[0-9A-Za-z_]+`)
	// numbers that belong together: 1.5, 12:30:15, 10.0.0.1:80
	joined = regexp.MustCompile(`#(?:[.:]#)+`)
)

// normalise puts "#" for everything that tells one occurrence of a failure from the next.
func normalise(text string) string {
	text = uuids.ReplaceAllString(text, "#")
	text = ipv6.ReplaceAllStringFunc(text, func(s string) string {
		trimmed := strings.TrimRight(s, ".:")
		if strings.HasSuffix(s, "::") {
			trimmed += "::"
		}
		if _, err := netip.ParseAddr(trimmed); err != nil {
			return s
		}
		return "#" + s[len(trimmed):]
	})
	return joined.ReplaceAllString(words.ReplaceAllStringFunc(text, word), "#")
}

// longID is the length from which a word that holds a digit is an id (ULID, KSUID, nanoid, base64), whatever its letters.
const longID = 20

func word(w string) string {
	hex, digits := true, false
	for i := range len(w) {
		c := w[i]
		switch {
		case c >= '0' && c <= '9':
			digits = true
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == 'x' && i == 1 && w[0] == '0':
		default:
			hex = false
		}
	}
	if digits && (hex || len(w) >= longID) || hex && len(w) >= 16 {
		return "#"
	}
	if !digits {
		return w
	}
	var b strings.Builder
	run := false
	for i := range len(w) {
		if isDigit := w[i] >= '0' && w[i] <= '9'; !isDigit {
			b.WriteByte(w[i])
			run = false
		} else if !run {
			b.WriteByte('#')
			run = true
		}
	}
	return b.String()
}
