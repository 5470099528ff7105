package probe

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/bpf"
)

// Words are what the kernel knows of a protocol whose requests it matches besides HTTP/1.
type Words struct {
	Protocol   Protocol
	Number     uint8           // of enum protocol in bpf/include/types.h
	Operations []string        // by number; 0 stands for what is none of the others
	Commands   map[string]Word // names of commands
	Answers    map[string]Word // first words of answers
	// Outcome names the status of an operation by the number of its answer, 0 for none.
	Outcome func(operation string, answer uint16) (status string, failed bool)
}

// Word is what the kernel does where a command or an answer begins with a word: struct word_t of bpf/include/types.h.
type Word struct {
	Number      uint16
	Kind, Field uint8
}

// wordSeeds are what the hashes of commands and of answers begin with, by protocol.
var wordSeeds = map[uint8][2]uint64{3: {0, 1}, 4: {2, 3}}

// wordHash is the hash of a word as the kernel programs make it byte by byte (mix in bpf/include/maps.h).
func wordHash(seed uint64, word string) uint64 {
	for _, b := range []byte(word) {
		seed = (seed ^ uint64(b)) * 0x9E3779B97F4A7C15
		seed ^= seed >> 32
	}
	return seed
}

// fitWords makes the kernel's map large enough for all words, however little memory the machine has.
func fitWords(m *ebpf.MapSpec, all []Words) {
	var n int
	for i := range all {
		n += len(all[i].Commands) + len(all[i].Answers)
	}
	m.MaxEntries = max(m.MaxEntries, uint32(n))
}

// enter puts all words into the kernel's map.
func (w *Words) enter(m *ebpf.Map) error {
	for i, words := range []map[string]Word{w.Commands, w.Answers} {
		for text, word := range words {
			value := bpf.VetchWordT{Number: word.Number, Kind: word.Kind, Field: word.Field}
			if err := m.Update(wordHash(wordSeeds[w.Number][i], text), &value, ebpf.UpdateNoExist); err != nil {
				return fmt.Errorf("enter %q of %s: %w", text, w.Protocol, err)
			}
		}
	}
	return nil
}

// name puts what a series of the kernel stands for into d. One that is not cut and has no answer asked for none, and has no duration.
func (w *Words) name(d *RequestDelta, operation uint64, answer uint16) {
	d.Protocol, d.Method, d.Route = w.Protocol, "", "~other"
	if operation < uint64(len(w.Operations)) {
		d.Route = w.Operations[operation]
	}
	d.Code, d.Failed = w.Outcome(d.Route, answer)
	if answer != 0 {
		return
	}
	d.Failed = d.Cut
	if !d.Cut {
		d.Buckets, d.Sum = [len(d.Buckets)]uint32{}, 0
	}
}
