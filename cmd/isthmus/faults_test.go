package main

import (
	"os"
	"path/filepath"
	"testing"
)

// `isthmus faults` writes a configuration, plays with a store and deletes it afterwards. An operator who names the directory of the real gateway has
// none of that happen to what is there.
func TestFaultsPlayInADirectoryOfTheirOwn(t *testing.T) {
	named := filepath.Join(t.TempDir(), "isthmus")
	for range 2 {
		c := faultsCommand{Directory: named}
		if err := c.place(); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(c.Directory) != named {
			t.Errorf("%s is played in, and %s was named", c.Directory, named)
		}
		if there, err := os.ReadDir(c.Directory); err != nil || len(there) > 0 {
			t.Errorf("%d files in it, %v", len(there), err)
		}
	}
	c := faultsCommand{}
	if err := c.place(); err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(c.Directory) != filepath.Clean(os.TempDir()) {
		t.Errorf("%s is played in", c.Directory)
	}
	if err := os.Remove(c.Directory); err != nil {
		t.Error(err)
	}
}
