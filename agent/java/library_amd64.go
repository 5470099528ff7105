package java

import _ "embed"

//go:embed inside_amd64.so
var library image
