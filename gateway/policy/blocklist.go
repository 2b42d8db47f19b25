package policy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxBlocked is how many parties a list of blocked ones may have.
const MaxBlocked = 1_000_000

// ReadBlocked reads a list of blocked parties: one to a line as ParseParty reads it, empty lines, and comments from a # on. A faulty line
// is an error that names it, and so is "*", which would block everybody; all such lines up to the tenth are reported. name is for errors.
func ReadBlocked(name string, r io.Reader) ([]Party, error) {
	var list []Party
	var faults []error
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := ParseParty(text)
		if err == nil && p.kind == everybody {
			err = errors.New(`"*" would block everybody`)
		}
		if err == nil && len(list) == MaxBlocked {
			return nil, fmt.Errorf("%s:%d: more than %d entries", name, n, MaxBlocked)
		}
		if err != nil {
			if faults = append(faults, fmt.Errorf("%s:%d: %w", name, n, err)); len(faults) == 10 {
				break
			}
			continue
		}
		list = append(list, p)
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	return list, errors.Join(faults...)
}
