// Package access holds the cases of the edge that are about getting in and staying connected: rights that are missing and
// granted later, passwords and certificates that change, brokers that are slow, gone, speak nonsense or have a full disk.
// docs/edge.md says what each must look like. It has tests only; nobody imports it.
package access
