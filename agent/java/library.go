package java

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/vetch-dev/vetch/agent/tls"
)

//go:generate inside/build.sh .

// image is the library that is loaded into JVMs: inside/build.sh builds it from the sources beside that. It is the same for every C library.
type image []byte

// The symbols of inside/library.c that the kernel uses.
const (
	symbolPlain  = "vetch_java_plain"
	symbolOff    = "vetch_java_off"
	symbolProbes = "vetch_java_probes"
)

// points are the places in the library, and the kernel programs for them (bpf/java.bpf.c).
func (l image) points() ([]tls.Point, error) {
	f, err := elf.NewFile(bytes.NewReader(l))
	if err != nil {
		return nil, fmt.Errorf("read the library for JVMs: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the library for JVMs: %w", err)
	}
	at := map[string]uint64{}
	for _, s := range symbols {
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value-p.Vaddr < p.Filesz {
				at[s.Name] = s.Value - p.Vaddr + p.Off
			}
		}
	}
	for _, name := range []string{symbolPlain, symbolOff, symbolProbes} {
		if at[name] == 0 {
			return nil, fmt.Errorf("the library for JVMs has no %s", name)
		}
	}
	return []tls.Point{
		{Program: "java_off", Offset: at[symbolOff]},
		{Program: "java_plain", Offset: at[symbolPlain], Counter: at[symbolProbes]},
	}, nil
}
