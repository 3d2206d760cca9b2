package connect

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// EnvPrefix begins the names of the environment variables that Load reads; EnvFile names the settings file.
const (
	EnvPrefix = "WAYBILL_"
	EnvFile   = "WAYBILL_CONFIG"
)

// envTests is what the test suites read (WAYBILL_KAFKA and what begins with it); it is never a setting.
const envTests = "WAYBILL_KAFKA"

// The sections a settings file may hold beside the connection keys. Applications keep their own under "app": Load asked for
// "app.webhooks" reads the map webhooks inside the map app.
var sections = []string{"app", "consumer", "producer", "setup"}

// sep joins the parts of a key inside koanf. It is not ".", because keys of maps (kinds, topics) contain dots.
const sep = "\x1f"

// Load fills into, a non-nil pointer to a struct, from a YAML file and the environment.
//
// The file's top level holds the connection keys (brokers, client_id, tls, sasl: Settings) and maps named sections. With a
// section, into receives the connection keys it has fields for and that section's own keys; a connection key repeated inside
// the section wins. Without one (""), into receives the keys of the top level. An empty file name means the file
// that WAYBILL_CONFIG names, and none when that is unset too.
//
// The environment beats the file: WAYBILL_ + the key in capitals, its parts joined by "_" (WAYBILL_SASL_USERNAME,
// WAYBILL_CONSUMER_GROUP). Lists are separated by commas, maps are k=v separated by commas, and both replace the file's. An
// empty variable counts as unset. Variables that are no setting are ignored, because clusters put variables of their own
// (WAYBILL_SERVICE_HOST) into the environment; so are WAYBILL_KAFKA and what begins with it, which belong to tests.
//
// A key is the field's name in snake case, or its `koanf` tag; fields tagged "-", functions and interfaces have none.
// Durations are texts such as "30s". What neither source names keeps the value it had, so defaults may be set before.
//
// Unknown keys in the file and values of a wrong type are errors, all joined, each naming its key; the error text holds
// no values, and into is then in no particular state. Load does not validate what the values mean.
func Load(path, section string, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("connect: Load needs a non-nil pointer to a struct, not %T", into)
	}
	if path == "" {
		path = os.Getenv(EnvFile)
	}
	want := schemaOf(v.Elem().Type())
	merged, err := readFile(path, section, want)
	if err != nil {
		return fmt.Errorf("connect: file %s: %w", path, err)
	}
	if err := overlay(merged, section, want); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := decode(merged, into); err != nil {
		return fmt.Errorf("connect: settings %s: %w", describe(path, section), err)
	}
	return nil
}

func describe(path, section string) string {
	text := "from the environment"
	if path != "" {
		text = "from " + path + " and the environment"
	}
	if section != "" {
		text += ", section " + section
	}
	return text
}

// readFile returns the file's keys for into, connection keys first and the section's own above them.
func readFile(path, section string, want *schema) (*koanf.Koanf, error) {
	merged := koanf.New(sep)
	if path == "" {
		return merged, nil
	}
	all := koanf.New(sep)
	if err := all.Load(file.Provider(path), yaml.Parser()); err != nil {
		return nil, err
	}
	raw := all.Raw()
	if err := checkKeys(raw, section, want); err != nil {
		return nil, err
	}
	for key := range raw {
		if want.child(key) == nil || (section != "" && connection.child(key) == nil) {
			all.Delete(key)
		}
	}
	if err := merged.Merge(all); err != nil {
		return nil, err
	}
	if own, _ := dig(raw, section); section != "" && own != nil {
		return merged, merged.Load(given(own), nil)
	}
	return merged, nil
}

// connection is the schema of the keys every section shares.
var connection = schemaOf(reflect.TypeFor[Settings]())

// checkKeys reports what the file holds and nobody knows. The connection keys are checked even where into has none of
// them, and sections that are not asked for are left to whoever asks.
func checkKeys(raw map[string]any, section string, want *schema) error {
	root := &schema{fields: maps.Clone(connection.fields)}
	known := sections
	if section == "" {
		maps.Copy(root.fields, want.fields)
	} else {
		known = append(slices.Clone(known), strings.Split(section, ".")[0])
	}
	for _, name := range known {
		if root.fields[name] == nil {
			root.fields[name] = anything
		}
	}
	errs := root.unknown("", raw)
	own, err := dig(raw, section)
	if section != "" {
		errs = append(errs, want.unknown(section, own)...)
	}
	return errors.Join(append(errs, err)...)
}

// dig returns the map at a dotted path, nil when nothing is there.
func dig(m map[string]any, path string) (map[string]any, error) {
	if path == "" {
		return m, nil
	}
	at := ""
	for part := range strings.SplitSeq(path, ".") {
		at = join(at, part)
		switch next := m[part].(type) {
		case nil:
			return nil, nil
		case map[string]any:
			m = next
		default:
			return nil, fmt.Errorf("%s must be a map of settings", at)
		}
	}
	return m, nil
}

// given hands koanf a map that was read already.
type given map[string]any

func (g given) ReadBytes() ([]byte, error)    { return nil, errors.New("not bytes") }
func (g given) Read() (map[string]any, error) { return g, nil }

// overlay lays the environment over merged: the connection keys, then the section's own.
func overlay(merged *koanf.Koanf, section string, want *schema) error {
	if section == "" {
		return overlayFrom(merged, EnvPrefix, want)
	}
	shared := &schema{fields: map[string]*schema{}}
	for name := range connection.fields {
		if f := want.child(name); f != nil {
			shared.fields[name] = f
		}
	}
	return errors.Join(overlayFrom(merged, EnvPrefix, shared), overlayFrom(merged, EnvPrefix+upper(section)+"_", want))
}

func upper(key string) string { return strings.ToUpper(strings.ReplaceAll(key, ".", "_")) }

func overlayFrom(merged *koanf.Koanf, prefix string, want *schema) error {
	leaves := map[string]leaf{}
	want.leaves(nil, func(l leaf) { leaves[prefix+upper(strings.Join(l.path, "_"))] = l })
	var errs []error
	take := func(name, value string) (string, any) {
		l, known := leaves[name]
		if !known || value == "" || name == envTests || strings.HasPrefix(name, envTests+"_") {
			return "", nil
		}
		parsed, err := parseText(l.typ, value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return "", nil
		}
		return strings.Join(l.path, sep), parsed
	}
	err := merged.Load(env.Provider(sep, env.Opt{Prefix: prefix, TransformFunc: take}), nil, koanf.WithMergeFunc(replaceLeaves))
	return errors.Join(append(errs, err)...)
}

// replaceLeaves merges src into dst, but a map that stands for one setting is replaced, as lists are: it comes as envMap.
func replaceLeaves(src, dst map[string]any) error {
	for key, value := range src {
		switch from := value.(type) {
		case envMap:
			dst[key] = map[string]any(from)
		case map[string]any:
			to, ok := dst[key].(map[string]any)
			if !ok {
				to = map[string]any{}
				dst[key] = to
			}
			if err := replaceLeaves(from, to); err != nil {
				return err
			}
		default:
			dst[key] = value
		}
	}
	return nil
}

func decode(merged *koanf.Koanf, into any) error {
	return merged.UnmarshalWithConf("", into, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:    tag,
		Squash:     true,
		ZeroFields: true, // lists and maps replace a default instead of being laid over its elements
		MatchName:  func(key, field string) bool { return key == field || key == snake(field) },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(durationHook, listHook, mapstructure.TextUnmarshallerHookFunc()),
	}})
}
