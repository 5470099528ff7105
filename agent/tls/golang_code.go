package tls

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

const (
	maxGoCode    = 64 << 10 // of one function
	maxGoReturns = 64
)

// goCode are places in a function, as offsets from its entry.
type goCode struct {
	begin   uint64   // behind the check of the stack's end, which is run again when the stack has moved; the arguments are still in their registers
	returns []uint64 // instructions that return
}

// readGoCode looks through the machine code of a function.
func readGoCode(machine elf.Machine, code []byte) (goCode, error) {
	var c goCode
	var err error
	if machine == elf.EM_AARCH64 {
		c = readArm64(code)
	} else if c, err = readAmd64(code); err != nil {
		return goCode{}, err
	}
	if len(c.returns) == 0 || len(c.returns) > maxGoReturns || c.begin >= uint64(len(code)) {
		return goCode{}, fmt.Errorf("%w: a function has %d returns", ErrCode, len(c.returns))
	}
	return c, nil
}

// checkWithin is how many instructions the check of the stack's end is at most away from the entry.
const checkWithin = 6

func readAmd64(code []byte) (goCode, error) {
	var c goCode
	for at, n := 0, 0; at < len(code); n++ {
		i, err := x86asm.Decode(code[at:], 64)
		if err != nil || i.Len <= 0 {
			return goCode{}, fmt.Errorf("%w: at byte %d of a function: %w", ErrCode, at, err)
		}
		if i.Op == x86asm.RET {
			c.returns = append(c.returns, uint64(at))
		}
		at += i.Len
		if i.Op == x86asm.JBE && n < checkWithin && c.begin == 0 {
			c.begin = uint64(at)
		}
	}
	return c, nil
}

func readArm64(code []byte) goCode {
	const (
		ret      = 0xd65f03c0
		ifLower  = 0x54000009 // B.LS, without its distance
		ifLowerX = 0xff00001f // what of it is not the distance
	)
	var c goCode
	for at := 0; at+4 <= len(code); at += 4 {
		switch word := binary.LittleEndian.Uint32(code[at:]); {
		case word == ret:
			c.returns = append(c.returns, uint64(at))
		case word&ifLowerX == ifLower && at < 4*checkWithin && c.begin == 0:
			c.begin = uint64(at + 4)
		}
	}
	return c
}
