package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The committed reference is what the comments say now.
func TestReferenceIsCurrent(t *testing.T) {
	want, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("configs/reference.yaml is out of date: run go generate ./configs (-comments +file):\n%s", diff)
	}
}

func TestGenerateFaults(t *testing.T) {
	for _, c := range []struct{ name, source string }{
		{"no Config", "package x"},
		{"a field without a comment", "package x\ntype Config struct {\n\tA string `yaml:\"a\" default:\"1\"`\n}"},
		{"neither default nor example", "package x\n// Config is x.\ntype Config struct {\n\t// A.\n\tA string `yaml:\"a\"`\n}"},
		{"a foreign type", "package x\ntype Config struct {\n\t// A.\n\tA time.Time `yaml:\"a\"`\n}"},
		{"no Go", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(folder+"/x.go", []byte(c.source), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := generate(folder); err == nil {
				t.Error("generate found no fault")
			}
		})
	}
}
