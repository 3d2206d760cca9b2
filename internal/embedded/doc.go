// Package embedded is a broker inside the process: kfake, listening on the loopback interface only, for the demo and for
// tests that want real sockets. Nothing is kept: the topics end with the process.
//
// cmd, internal/demo and tests may start one. The engine never does, and it is never offered to anybody as a broker to
// keep jobs in: it does not stamp records (LogAppendTime), enforces no quota and accepts any topic configuration.
package embedded
