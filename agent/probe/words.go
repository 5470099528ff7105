package probe

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/agent/protocol"
	"github.com/vetch-dev/vetch/bpf"
)

// Words are what the kernel knows of a protocol whose requests it matches besides HTTP/1.
type Words struct {
	Protocol Protocol
	Number   uint8 // of enum protocol in bpf/include/types.h
	protocol.Words
}

// WordsOf are those of a protocol.
func WordsOf(p protocol.Protocol, words protocol.Words) Words {
	return Words{Protocol: Protocol(p.Name), Number: uint8(p.Matched), Words: words}
}

// wordSeeds are what the hashes of commands and of answers begin with, by protocol.
var wordSeeds = map[uint8][2]uint64{3: {0, 1}, 4: {2, 3}, 6: {10, 11}}

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
	for i, words := range []map[string]protocol.Word{w.Commands, w.Answers} {
		for text, word := range words {
			value := bpf.VetchWordT{Number: word.Number, Kind: uint8(word.Kind), Field: word.Field}
			if err := m.Update(protocol.HashText(wordSeeds[w.Number][i], text), &value, ebpf.UpdateNoExist); err != nil {
				return fmt.Errorf("enter %q of %s: %w", text, w.Protocol, err)
			}
		}
	}
	return nil
}

// name puts what a series of the kernel stands for into d. One that is not cut and has no answer asked for none, and has no duration.
func (w *Words) name(d *RequestDelta, operation uint64, answer uint32) {
	d.Protocol, d.Method, d.Route = w.Protocol, "", "~other"
	switch {
	case w.Named != nil:
		d.Route = w.Named(operation)
	case operation < uint64(len(w.Operations)):
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

// Enter tells the kernel of a statement. Without room the one that was not met for longest is forgotten.
func (p *Probe) Enter(s protocol.Statement) {
	if err := enter(p.shipping.statements, s); err != nil {
		p.stats.statementsFull.Add(1)
	}
}

func enter(m *ebpf.Map, s protocol.Statement) error {
	key, number := bpf.VetchStatementKeyT{Sk: s.Stream.Socket, OpenedNs: s.Stream.Opened, Id: s.ID}, uint32(s.Number)
	if err := m.Update(&key, &number, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("enter a statement: %w", err)
	}
	return nil
}
