package job

import (
	"strconv"
	"time"
)

// headerWriter appends headers whose values stand one after the other in one block of bytes: a copy has a dozen, and is
// written for each failure.
type headerWriter struct {
	dst  []Header
	buf  []byte
	from int // where the value under way begins
}

// grow makes room for n headers and some bytes of values. Where it is not enough the block goes on elsewhere; what was
// written before stays where it is.
func (w *headerWriter) grow(n, bytes int) {
	if cap(w.dst)-len(w.dst) < n {
		w.dst = append(make([]Header, 0, len(w.dst)+n), w.dst...)
	}
	w.buf = make([]byte, 0, bytes)
}

// end makes what was appended to buf since the last end the value of a header.
func (w *headerWriter) end(name string) {
	w.dst = append(w.dst, Header{name, w.buf[w.from:len(w.buf):len(w.buf)]})
	w.from = len(w.buf)
}

func (w *headerWriter) text(name, value string) {
	w.buf = append(w.buf, value...)
	w.end(name)
}

func (w *headerWriter) number(name string, n int64) {
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.end(name)
}

func (w *headerWriter) time(name string, t time.Time) {
	w.buf = t.UTC().AppendFormat(w.buf, timeLayout)
	w.end(name)
}

// producers writes what ProducerHeaders is about, with another kind and instant.
func (w *headerWriter) producers(m *Message, kind string, at time.Time) {
	w.text(HeaderKind, kind)
	w.text(HeaderID, m.ID)
	if m.Version != 0 {
		w.number(HeaderVersion, int64(m.Version))
	}
	if m.ContentType != "" {
		w.text(HeaderContentType, m.ContentType)
	}
	if !at.IsZero() {
		w.time(HeaderAt, at)
	}
	if !m.Expires.IsZero() {
		w.time(HeaderExpires, m.Expires)
	}
	if m.Correlation != "" {
		w.text(HeaderCorrelation, m.Correlation)
	}
	w.dst = append(w.dst, m.Headers...)
}

// Of the headers that are not the user's own: how many there are at most, and what the values of the usual ones take beside
// the texts.
const (
	producersMost  = 7
	stampMost      = 7
	producersBytes = 64
	stampBytes     = 128
)

func textBytes(m *Message, kind string) int {
	return len(kind) + len(m.ID) + len(m.ContentType) + len(m.Correlation)
}

// ProducerHeaders appends the producer's headers of m to dst: kind, id and whatever else is set, then the user's own.
func ProducerHeaders(dst []Header, m *Message) []Header {
	w := headerWriter{dst: dst}
	w.grow(producersMost+len(m.Headers), textBytes(m, m.Kind)+producersBytes)
	w.producers(m, m.Kind, m.At)
	return w.dst
}

// CopyHeaders appends the headers of a copy of e to dst: the producer's, with s.At in place of e's, then the stamp.
func CopyHeaders(dst []Header, e *Envelope, s *Stamp) []Header {
	text := Bounded(s.Text)
	w := headerWriter{dst: dst}
	w.grow(copyRoom(e, s, text))
	w.copy(e, s, text)
	return w.dst
}

// copyRoom is how many headers a copy has at most, and about how many bytes their values.
func copyRoom(e *Envelope, s *Stamp, text string) (n, bytes int) {
	return producersMost + stampMost + len(e.Headers), textBytes(&e.Message, e.WireKind) + len(s.Origin.Topic) + len(text) + producersBytes + stampBytes
}

func (w *headerWriter) copy(e *Envelope, s *Stamp, text string) {
	w.producers(&e.Message, e.WireKind, s.At)
	w.number(HeaderHop, int64(s.Hop))
	if s.Gen != 0 {
		w.number(HeaderGen, int64(s.Gen))
	}
	w.number(HeaderAttempt, int64(s.Attempts))
	w.number(HeaderDelay, delayMillis(s.Delay))
	if !s.First.IsZero() {
		w.time(HeaderFirst, s.First)
	}
	w.buf = s.Origin.append(w.buf)
	w.end(HeaderOrigin)
	if s.Code != CodeNone {
		w.buf = append(w.buf, s.Code.String()...)
		w.buf = append(w.buf, ": "...)
		w.text(HeaderError, text)
	}
}

// HeaderBlocks makes the headers of many copies cheaply: some dozens share an allocation, for as long as one of them is kept.
// It must not be used by two goroutines at once; its zero value is ready.
type HeaderBlocks struct {
	headers []Header // what is written is never changed
	bytes   []byte
}

const (
	headerBlock = 256     // headers, of some thirty copies
	valueBlock  = 6 << 10 // bytes of their values
)

// Copy is CopyHeaders for no headers before.
func (b *HeaderBlocks) Copy(e *Envelope, s *Stamp) []Header {
	text := Bounded(s.Text)
	n, bytes := copyRoom(e, s, text)
	if n > headerBlock/8 || bytes > valueBlock/8 {
		return CopyHeaders(nil, e, s)
	}
	if cap(b.headers)-len(b.headers) < n {
		b.headers = make([]Header, 0, headerBlock)
	}
	if cap(b.bytes)-len(b.bytes) < bytes {
		b.bytes = make([]byte, 0, valueBlock)
	}
	from, most := len(b.headers), cap(b.bytes)
	w := headerWriter{dst: b.headers, buf: b.bytes, from: len(b.bytes)}
	w.copy(e, s, text)
	if b.headers = w.dst; cap(w.buf) == most {
		b.bytes = w.buf
	} else { // more than was thought: the values went elsewhere, the first of them stand here
		b.bytes = nil
	}
	return w.dst[from:len(w.dst):len(w.dst)]
}
