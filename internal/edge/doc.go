// Package edge is the rig for the cases at the edge of the system: what is foreign, broken, forbidden or oversized arrives
// between good jobs, and the good ones must all finish while the rest ends as docs/edge.md says. The cases are this
// package's tests, and those of the packages below it; each runs on the in-memory broker and on a real Kafka.
//
//	func TestSomethingHostile(t *testing.T) {
//		edge.Both(t, func(t *testing.T, c *edge.Cluster) {
//			r := edge.New(t, c)
//			i := r.Start("a")
//			r.Good(5)
//			r.Put(&kgo.Record{...})
//			r.Good(5)
//			r.Finished() // every good job ran, everything is settled and committed
//			r.Letters(), r.Audit(), i.Logged("..."), i.Pauses()
//		})
//	}
//
// Tests of this module may call it, nobody else. It never sleeps to wait for something: it asks until what it waits for is
// so, or Patience has passed.
package edge
