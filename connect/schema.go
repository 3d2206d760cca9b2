package connect

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const tag = "koanf"

// schema is the tree of keys a struct can be filled from.
type schema struct {
	fields map[string]*schema // of a struct
	each   *schema            // of every element of a list or map of structs
	typ    reflect.Type       // of a leaf; nil for a struct
}

// anything accepts all below it: a section somebody else will look into.
var anything = &schema{}

func (s *schema) child(name string) *schema { return s.fields[name] }

// schemaOf returns the keys of struct type t.
func schemaOf(t reflect.Type) *schema { return structSchema(t, nil) }

// structSchema is schemaOf inside the types of outer, whose recursion it cuts.
func structSchema(t reflect.Type, outer []reflect.Type) *schema {
	s := &schema{fields: map[string]*schema{}}
	if slices.Contains(outer, t) {
		return s
	}
	outer = append(outer, t)
	for f := range fieldsOf(t) {
		name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		switch sub := typeSchema(f.Type, outer); {
		case name == "-" || sub == nil:
		case name == "" && f.Anonymous && sub.fields != nil:
			maps.Copy(s.fields, sub.fields)
		case name == "":
			s.fields[snake(f.Name)] = sub
		default:
			s.fields[name] = sub
		}
	}
	return s
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// typeSchema returns nil for types no setting can have: functions, interfaces, channels, structs without such fields.
func typeSchema(t reflect.Type, outer []reflect.Type) *schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if scalar(t) {
		return &schema{typ: t}
	}
	switch t.Kind() {
	case reflect.Struct:
		if s := structSchema(t, outer); len(s.fields) > 0 {
			return s
		}
	case reflect.Slice, reflect.Map:
		if t.Kind() == reflect.Map && t.Key().Kind() != reflect.String {
			return nil
		}
		if elem := typeSchema(t.Elem(), outer); elem != nil && t.Elem().Kind() != reflect.Uint8 {
			return &schema{typ: t, each: elem}
		}
	}
	return nil
}

// scalar reports whether one text says a value of t.
func scalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textType) {
		return true
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64:
		return true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// unknown returns an error for every key of raw that s does not know, at any depth.
func (s *schema) unknown(at string, raw any) []error {
	var errs []error
	switch v := raw.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			switch sub := s.fields[key]; {
			case s.fields == nil && s.each != nil:
				errs = append(errs, s.each.unknown(join(at, key), v[key])...)
			case s.fields == nil: // a leaf that should not be a map: the decoder says so
			case sub == nil:
				errs = append(errs, fmt.Errorf("unknown key %s; known here: %s", join(at, key),
					strings.Join(slices.Sorted(maps.Keys(s.fields)), ", ")))
			default:
				errs = append(errs, sub.unknown(join(at, key), v[key])...)
			}
		}
	case []any:
		for i := range v {
			if s.each != nil {
				errs = append(errs, s.each.unknown(fmt.Sprintf("%s[%d]", at, i), v[i])...)
			}
		}
	}
	return errs
}

// leaf is one setting that a text can say.
type leaf struct {
	path []string
	typ  reflect.Type
}

// leaves calls each for every setting below s that an environment variable can carry.
func (s *schema) leaves(path []string, each func(leaf)) {
	for name, f := range s.fields {
		at := append(slices.Clone(path), name)
		if f.fields != nil {
			f.leaves(at, each)
		} else if f.each == nil || scalar(f.typ.Elem()) {
			each(leaf{at, f.typ})
		}
	}
}

// envMap is a map that was one variable.
type envMap map[string]any

// parseText reads the text of a variable as a value for type t. Errors hold no text: it may be a secret.
func parseText(t reflect.Type, text string) (any, error) {
	switch {
	case t == durationType:
		d, err := time.ParseDuration(text)
		return d, asked(err, "a duration such as 30s")
	case reflect.PointerTo(t).Implements(textType):
		return text, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		return b, asked(err, "true or false")
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, t.Bits())
		return f, asked(err, "a number")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, t.Bits())
		return n, asked(err, "a whole number in range")
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, t.Bits())
		return n, asked(err, "a whole number in range")
	case reflect.Slice:
		return parseList(t.Elem(), text)
	case reflect.Map:
		return parseMap(t.Elem(), text)
	}
	return text, nil
}

func asked(err error, what string) error {
	if err == nil {
		return nil
	}
	return errors.New("is not " + what)
}

func parseList(elem reflect.Type, text string) (any, error) {
	var list []any
	for part := range strings.SplitSeq(text, ",") {
		v, err := parseText(elem, strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("an entry %w", err)
		}
		list = append(list, v)
	}
	return list, nil
}

func parseMap(elem reflect.Type, text string) (any, error) {
	m := envMap{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || key == "" {
			return nil, errors.New("is not a list of key=value, separated by commas")
		}
		v, err := parseText(elem, value)
		if err != nil {
			return nil, fmt.Errorf("an entry %w", err)
		}
		m[key] = v
	}
	return m, nil
}

// durationHook reads durations from texts only: a bare 30 would be 30 nanoseconds.
func durationHook(from, to reflect.Type, value any) (any, error) {
	if to != durationType || from == durationType {
		return value, nil
	}
	text, ok := value.(string)
	if !ok {
		return nil, errors.New("is not a duration such as 30s; it needs its unit")
	}
	return parseText(to, text)
}

// listHook lets "a,b" stand for a list.
func listHook(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || to.Kind() != reflect.Slice || !scalar(to.Elem()) || reflect.PointerTo(to).Implements(textType) {
		return value, nil
	}
	return parseList(to.Elem(), text)
}

// snake turns a Go name into a key: ClientID is client_id, CAFile is ca_file, TLS is tls.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && runes[i-1] != '_' &&
			(!unicode.IsUpper(runes[i-1]) || (i+1 < len(runes) && unicode.IsLower(runes[i+1]))) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
