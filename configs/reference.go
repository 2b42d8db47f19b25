package configs

import _ "embed"

//go:embed reference.yaml
var reference string

// Reference is the annotated reference: YAML that Parse takes, every key with its comment, its default or an example, its
// bounds, and what happens when a limit is reached.
func Reference() string { return reference }
