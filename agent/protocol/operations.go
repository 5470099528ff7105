package protocol

import "sync"

// maxOperations is how many names of operations the kernel can count under numbers. What is met when it is reached stays in user space.
const maxOperations = 4096

// Operations gives numbers to the names of operations that the kernel is to count under: those of statements, as they are met. It forgets none.
// It may be used by several goroutines.
type Operations struct {
	mu      sync.Mutex
	numbers map[string]uint16
	names   []string // by number
}

// NewOperations makes an empty list.
func NewOperations() *Operations {
	return &Operations{numbers: map[string]uint16{}, names: []string{""}}
}

// Number is that of an operation, from 1 on; 0 if there is no room.
func (o *Operations) Number(operation string) uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, ok := o.numbers[operation]; ok {
		return n
	}
	if len(o.names) > maxOperations {
		return 0
	}
	n := uint16(len(o.names))
	o.numbers[operation] = n
	o.names = append(o.names, operation)
	return n
}

// Name is the operation of a number, "" if it has none.
func (o *Operations) Name(number uint64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if number >= uint64(len(o.names)) {
		return ""
	}
	return o.names[number]
}

// Len is how many there are, of at most max.
func (o *Operations) Len() (n, most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.names) - 1, maxOperations
}
