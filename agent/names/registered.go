package names

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Registered is the domain that somebody registered to have a name: "example.co.uk" of "www.example.co.uk", and "amazonaws.com" of
// "bucket.s3.amazonaws.com", whatever its owner lets others have below it. public says that a registry of the Internet knows its end;
// of other names it is the last two labels. The name is lower case and has no last dot. The list of registries is that of publicsuffix.org.
func Registered(name string) (domain string, public bool) {
	suffix, public := publicsuffix.PublicSuffix(name)
	for !public { // given out below a domain that is itself registered, or not known at all
		_, parent, found := strings.Cut(suffix, ".")
		if !found {
			break
		}
		suffix, public = publicsuffix.PublicSuffix(parent)
	}
	if len(name) <= len(suffix) {
		return name, public
	}
	head := strings.TrimSuffix(name[:len(name)-len(suffix)], ".")
	return name[strings.LastIndexByte(head, '.')+1:], public
}
