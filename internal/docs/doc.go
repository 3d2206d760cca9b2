// Package docs holds the tests that keep the pages true: the vectors of docs/wire.md and docs/log.md against the code that reads
// and writes the formats, and the links between all pages. It holds tests and nothing else; nobody imports it, and it needs no broker.
//
// A vector is a line of a fenced block of one of the two whose info string is "jsonl" and a name: a JSON object, which other
// languages may read as well.
package docs
