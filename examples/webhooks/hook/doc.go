// Package hook is what the two ends of this service agree on: the job that a webhook delivery becomes, and the signed HTTP
// request that a subscriber receives.
//
// The intake makes deliveries, the relay sends them, and a subscriber written in Go may import it for Verify. It opens no
// connection and keeps no state.
package hook
