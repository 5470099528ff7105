package java

import _ "embed"

//go:embed inside_arm64.so
var library image
