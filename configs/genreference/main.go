// Command genreference writes reference.yaml, the annotated reference of the configuration, from the comments and tags of the
// types in package configs. It is run by go generate in that folder.
package main

import (
	"fmt"
	"os"
)

func main() {
	text, err := generate(".")
	if err == nil {
		err = os.WriteFile("reference.yaml", text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "genreference:", err)
		os.Exit(1)
	}
}
