package task

import (
	"bytes"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/waybill-dev/waybill/job"
)

// digest is a hash of all that a world and its machines may still depend on, so that two histories that lead to the same state are
// seen to. It walks the values themselves and so knows of a field that is added tomorrow. What it leaves out is named here:
// what never changes, what only counts, and what the rest implies (a fold is that of its log; a store is held against the log
// after each step, so its position says it all; the tables in which receipts are found are those of the lists beside them).
type digest struct {
	maphash.Hash

	seen  map[unsafe.Pointer]uint64
	known map[reflect.Type][]int // the fields of each type that count
}

var digestSeed = maphash.MakeSeed()

// of is the digest of a state.
func (d *digest) of(s *sim) uint64 {
	d.SetSeed(digestSeed)
	if clear(d.seen); d.seen == nil {
		d.seen, d.known = map[unsafe.Pointer]uint64{}, map[reflect.Type][]int{}
	}
	d.value(reflect.ValueOf(s).Elem())
	return d.Sum64()
}

var (
	undigested = map[reflect.Type]bool{reflect.TypeFor[Config](): true, reflect.TypeFor[Stats](): true, reflect.TypeFor[Catalog](): true, reflect.TypeFor[*Kind](): true,
		reflect.TypeFor[job.Strings](): true, reflect.TypeFor[[]fold](): true, reflect.TypeFor[links](): true}
	undigestedFields = map[reflect.Type][]string{
		reflect.TypeFor[sim]():       {"count", "jobs", "freed", "begun", "deaths"},
		reflect.TypeFor[world]():     {"names", "follows", "holders", "burnt", "violation", "plan", "tiers", "limits"},
		reflect.TypeFor[partition](): {"ghost"},
		reflect.TypeFor[proc]():      {"active", "cleared"},
		reflect.TypeFor[Machine]():   {"Out", "usual"},
		reflect.TypeFor[recent]():    {"joined", "slots"},
	}
)

func (d *digest) fields(t reflect.Type) []int {
	if all, ok := d.known[t]; ok {
		return all
	}
	all := []int{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !undigested[f.Type] && f.Type.Kind() != reflect.Func && !slices.Contains(undigestedFields[t], f.Name) {
			all = append(all, i)
		}
	}
	d.known[t] = all
	return all
}

func (d *digest) number(n uint64) { maphash.WriteComparable(&d.Hash, n) }

func (d *digest) value(v reflect.Value) {
	if undigested[v.Type()] {
		return
	}
	switch v.Kind() {
	case reflect.Func, reflect.Chan:
	case reflect.Pointer:
		d.pointer(v)
	case reflect.Interface:
		if !v.IsNil() {
			d.value(v.Elem())
		}
	case reflect.Struct:
		for _, i := range d.fields(v.Type()) {
			d.value(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		d.list(v)
	case reflect.Map:
		d.mapping(v)
	case reflect.String:
		d.number(uint64(v.Len()))
		d.WriteString(v.String())
	case reflect.Bool:
		d.WriteByte(map[bool]byte{true: 1}[v.Bool()])
	default:
		d.plain(v)
	}
}

func (d *digest) plain(v reflect.Value) {
	switch {
	case v.CanInt():
		d.number(uint64(v.Int()))
	case v.CanUint():
		d.number(v.Uint())
	case v.CanFloat():
		maphash.WriteComparable(&d.Hash, v.Float())
	default:
		panic("no digest of a " + v.Type().String())
	}
}

// pointer writes what it leads to, once: after that, which it was.
func (d *digest) pointer(v reflect.Value) {
	p := v.UnsafePointer()
	at, known := d.seen[p]
	if p == nil || known {
		d.number(at)
		return
	}
	d.seen[p] = uint64(len(d.seen) + 1)
	d.number(uint64(len(d.seen)))
	d.value(v.Elem())
}

func (d *digest) list(v reflect.Value) {
	d.number(uint64(v.Len()))
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		d.Write(v.Bytes())
		return
	}
	for i := range v.Len() {
		d.value(v.Index(i))
	}
}

// mapping writes a map in the order of its keys.
func (d *digest) mapping(v reflect.Value) {
	type pair struct {
		name       string
		key, value reflect.Value
	}
	var all []pair
	for it := v.MapRange(); it.Next(); {
		all = append(all, pair{keyName(it.Key()), it.Key(), it.Value()})
	}
	slices.SortFunc(all, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	d.number(uint64(len(all)))
	for _, p := range all {
		d.WriteString(p.name)
		d.value(p.value)
	}
}

// keyName tells the keys of one map apart, the same in each run.
func keyName(v reflect.Value) string {
	var b bytes.Buffer
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Array:
		for i := range v.Len() {
			b.WriteByte(byte(v.Index(i).Uint()))
		}
	case reflect.Pointer: // an entry
		e := (*Entry)(v.UnsafePointer())
		b.WriteString(e.env.Topic)
		b.WriteByte(' ')
		for i := range 8 {
			b.WriteByte(byte(e.env.Offset >> (8 * i)))
		}
		if e.m != nil {
			b.WriteString(e.m.cfg.Ref.(*proc).name)
		}
	default:
		for i := range 8 {
			n := uint64(0)
			if v.CanInt() {
				n = uint64(v.Int())
			} else {
				n = v.Uint()
			}
			b.WriteByte(byte(n >> (8 * i)))
		}
	}
	return b.String()
}
