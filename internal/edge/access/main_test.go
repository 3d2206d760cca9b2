package access_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/internal/realkafka"
)

func TestMain(m *testing.M) {
	code := realkafka.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
