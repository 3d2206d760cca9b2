package job

import (
	"strings"
	"unsafe"
)

// Strings makes the strings of many records cheaply. Texts that many of them have (kinds, content types) are made, and
// looked through, once; the others share blocks of memory, a block for some thirty ids, so that one that is kept does not
// keep a whole fetched batch. A nil *Strings makes each string for itself. It must not be used by two goroutines at once;
// its zero value is ready.
type Strings struct {
	kinds, types, topics map[string]string // valid ones
	block                []byte            // what is written is never changed
	names                [16]string        // of headers, as last seen at that place among a record's
}

const (
	knownStrings = 1024 // more are not remembered: who sends them sends others next
	knownName    = 64   // bytes of a header's name; a longer one is not remembered
	stringBlock  = 1 << 10
)

// name is the name of the i-th header of a record: most records have the same in the same order, and a string each for the same
// few names is most of what a garbage collector would have to look at in a fetched batch.
func (s *Strings) name(i int, name string) string {
	if i >= len(s.names) || len(name) > knownName {
		return name
	}
	if s.names[i] != name {
		s.names[i] = name
	}
	return s.names[i]
}

func (s *Strings) kind(b []byte) (string, error) {
	if s == nil {
		return common(nil, b, ValidateKind)
	}
	return common(&s.kinds, b, ValidateKind)
}

func (s *Strings) contentType(b []byte) (string, error) {
	if s == nil {
		return common(nil, b, validateContentType)
	}
	return common(&s.types, b, validateContentType)
}

// topic is a copy of a topic's name.
func (s *Strings) topic(name string) string {
	if s == nil {
		return strings.Clone(name)
	}
	if known, ok := s.topics[name]; ok {
		return known
	}
	name = strings.Clone(name)
	if len(s.topics) < knownStrings {
		if s.topics == nil {
			s.topics = map[string]string{}
		}
		s.topics[name] = name
	}
	return name
}

// common is a text that valid is asked about, unless it was found valid before.
func common(known *map[string]string, b []byte, valid func(string) error) (string, error) {
	if known != nil {
		if text, ok := (*known)[string(b)]; ok {
			return text, nil
		}
	}
	text := string(b)
	err := valid(text)
	if err == nil && known != nil && len(*known) < knownStrings {
		if *known == nil {
			*known = map[string]string{}
		}
		(*known)[text] = text
	}
	return text, err
}

// own is a text that belongs to one record.
func (s *Strings) own(b []byte) string {
	if s == nil || len(b) > stringBlock/8 {
		return string(b)
	}
	if len(b) == 0 {
		return ""
	}
	if cap(s.block)-len(s.block) < len(b) {
		s.block = make([]byte, 0, stringBlock)
	}
	at := len(s.block)
	s.block = append(s.block, b...)
	return unsafe.String(&s.block[at], len(b))
}
