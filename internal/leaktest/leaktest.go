// Package leaktest is the end of a package's tests: no goroutine of them is left.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines have to end. goleak itself gives them less than half a second, in which a machine with other work may not have run
// all of them.
const patience = 40 * time.Second

// Main is goleak.VerifyTestMain with that patience.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	for end := time.Now().Add(patience); code == 0; {
		err := goleak.Find(options...)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
