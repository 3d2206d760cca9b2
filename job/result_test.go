package job

import (
	"bytes"
	"errors"
	"testing"
)

func TestSetResult(t *testing.T) {
	full := bytes.Repeat([]byte{7}, MaxResult)
	for _, c := range []struct {
		name string
		set  [][]byte
		want []byte
		err  error // of the last
	}{
		{"nothing", nil, nil, nil},
		{"one", [][]byte{{1, 2}}, []byte{1, 2}, nil},
		{"the last counts", [][]byte{{1}, {2}}, []byte{2}, nil},
		{"taken back", [][]byte{{1}, nil}, nil, nil},
		{"taken back by nothing", [][]byte{{1}, {}}, nil, nil},
		{"as large as may be", [][]byte{full}, full, nil},
		{"too large changes nothing", [][]byte{{1}, append(bytes.Clone(full), 7)}, []byte{1}, ErrResultTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Message
			var err error
			for _, b := range c.set {
				err = m.SetResult(b)
			}
			if !errors.Is(err, c.err) || !bytes.Equal(m.Result, c.want) || (m.Result == nil) != (c.want == nil) {
				t.Errorf("result %v, error %v; want %v, %v", m.Result, err, c.want, c.err)
			}
		})
	}
}

func TestSetResultCopies(t *testing.T) {
	var m Message
	b := []byte("order 7")
	if err := m.SetResult(b); err != nil {
		t.Fatal(err)
	}
	b[0] = 'X'
	if string(m.Result) != "order 7" {
		t.Errorf("%s", m.Result)
	}
}
