// Package intake takes webhook deliveries, over HTTP or from a file, and enqueues one job for each. It says yes only when
// all in-sync replicas have the job, and never calls a subscriber.
package intake
