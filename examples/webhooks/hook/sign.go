package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
)

// The headers of a relayed request.
const (
	HeaderEvent     = "X-Waybill-Event"         // the event's name
	HeaderDelivery  = "X-Waybill-Delivery"      // the id of the delivery, as its sender named it
	HeaderAttempt   = "X-Waybill-Attempt"       // 1 for the first attempt
	HeaderKey       = "Idempotency-Key"         // the same for every attempt at one delivery; apply each key once
	HeaderSignature = "X-Waybill-Signature-256" // see Sign
)

// ErrSignature says that a request was not signed with the secret, or was changed on its way.
var ErrSignature = errors.New("the signature does not match")

// Sign returns the value of X-Waybill-Signature-256:
//
//	"sha256=" + hex(HMAC-SHA256(secret, idempotency key + "\n" + event + "\n" + body))
//
// It covers the key so that a request that somebody recorded and sends again is known as a repetition. Neither the key nor
// the event can hold a line break.
func Sign(secret []byte, key, event string, body []byte) string {
	return "sha256=" + hex.EncodeToString(MAC(secret, []byte(key+"\n"+event+"\n"), body))
}

// Verify checks a received request; body is the whole body as it was read. Its error is ErrSignature or nil, and how long it
// takes does not depend on where the signature differs.
func Verify(secret []byte, h http.Header, body []byte) error {
	want := Sign(secret, h.Get(HeaderKey), h.Get(HeaderEvent), body)
	if len(secret) == 0 || h.Get(HeaderKey) == "" || !hmac.Equal([]byte(want), []byte(h.Get(HeaderSignature))) {
		return ErrSignature
	}
	return nil
}

// MAC is HMAC-SHA256 over the parts, one after the other.
func MAC(secret []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		h.Write(p) // a hash never fails
	}
	return h.Sum(nil)
}
