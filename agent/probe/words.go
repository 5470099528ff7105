package probe

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/bpf"
)

// Words are what the kernel knows of the protocol whose requests it matches besides HTTP/1.
type Words struct {
	Protocol   Protocol
	Operations []string          // by number; 0 stands for what is none of the others
	Statuses   []string          // by number; 0: no response, 1: ok, 2: an error that is none of the others
	Commands   map[string]uint16 // in capitals, of one or two words -> number of the operation
	Containers map[string]bool   // Commands whose second word belongs to the name
	Special    map[string]bool   // Commands that are not matched in the kernel, nor what follows them
	Errors     map[string]uint16 // first words of error answers -> number of the status
}

// The kinds of words, as in enum word of bpf/include/types.h, and what the hash of an error begins with.
const (
	wordPlain = iota
	wordSecond
	wordBack
	errorSeed = 1
)

// wordHash is the hash of a word as the kernel programs make it byte by byte (mix in bpf/include/maps.h).
func wordHash(seed uint64, word string) uint64 {
	for _, b := range []byte(word) {
		seed = (seed ^ uint64(b)) * 0x9E3779B97F4A7C15
		seed ^= seed >> 32
	}
	return seed
}

// fit makes the kernel's map large enough for all words, however little memory the machine has.
func (w *Words) fit(m *ebpf.MapSpec) {
	if w != nil {
		m.MaxEntries = max(m.MaxEntries, uint32(len(w.Commands)+len(w.Errors)))
	}
}

// enter puts all words into the kernel's map.
func (w *Words) enter(m *ebpf.Map) error {
	for command, number := range w.Commands {
		word := bpf.VetchWordT{Number: number, Kind: wordPlain}
		if w.Containers[command] {
			word.Kind = wordSecond
		}
		if w.Special[command] {
			word.Kind = wordBack
		}
		if err := m.Update(wordHash(0, command), &word, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("enter the command %s: %w", command, err)
		}
	}
	for word, number := range w.Errors {
		if err := m.Update(wordHash(errorSeed, word), &bpf.VetchWordT{Number: number}, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("enter the error %s: %w", word, err)
		}
	}
	return nil
}

// name puts what a series of the kernel stands for into d.
func (w *Words) name(d *RequestDelta, operation uint64, status uint16) {
	d.Protocol, d.Method, d.Route, d.Code, d.Failed = w.Protocol, "", "~other", "~other", status != statusOK
	if operation < uint64(len(w.Operations)) {
		d.Route = w.Operations[operation]
	}
	if int(status) < len(w.Statuses) {
		d.Code = w.Statuses[status]
	}
}

const (
	protocolRedis = 3 // enum protocol
	statusOK      = 1
)
