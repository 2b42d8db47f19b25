// Package expattest reads XML with expat, in a child process, as the second opinion of tests on what a document says.
package expattest

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"testing"
)

//go:embed oracle.py
var script string // the child's program; what it prints is described there

// Oracle is a child process that parses with expat. It is for one goroutine.
type Oracle struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts it; it ends with the test. python3 is required: a test that needs it is skipped without it, but fails where CI is set.
func Start(tb testing.TB) *Oracle {
	tb.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal("python3 is required: ", err)
		}
		tb.Skip("python3 is required: ", err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("expat: %v", err)
		}
	})
	return &Oracle{in: in, out: bufio.NewReader(out)}
}

// Parse returns expat's tree of a document, or why expat refuses it.
func (o *Oracle) Parse(tb testing.TB, doc []byte) (tree, refusal string) {
	tb.Helper()
	request := append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)
	if _, err := o.in.Write(request); err != nil {
		tb.Fatal(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(o.out, head[:]); err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(o.out, answer); err != nil {
		tb.Fatal(err)
	}
	if len(answer) > 0 && answer[0] == '!' {
		return "", string(answer[1:])
	}
	return string(answer), ""
}
