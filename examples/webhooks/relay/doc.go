// Package relay sends the deliveries of a topic to subscribers, each as a signed POST.
//
// Every subscriber is a consumer group of its own on the one topic: it has its own place, retries and dead letters, so one
// that is slow, down or gone delays nobody else and nobody else's failure makes it receive anything twice. That costs a set
// of retry and receipt topics for each; a service with hundreds of subscribers would rather enqueue a job for each pair of
// delivery and subscriber.
//
// What a subscriber answers decides what becomes of the delivery:
//
//	2xx                            done
//	429, 503 with Retry-After      again after that long, at most MaxRetryAfter
//	408, 425, 429, 5xx, no answer  again by the plan of the retry tiers
//	410                            discarded: it wants no more of it; the audit topic has a line
//	any other                      a dead letter: sending it again would not help
//
// A subscriber may receive a delivery more than once, when it applied it and its answer was lost. It applies each
// Idempotency-Key once; package hook has the headers and Verify.
package relay
