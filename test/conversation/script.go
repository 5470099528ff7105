// Package conversation plays scripted exchanges of bytes over one TCP connection: both ends follow one script, so every byte and every request is known beforehand.
package conversation

// Speaker is an end of the connection.
type Speaker uint8

// The ends.
const (
	Client Speaker = iota
	Server
)

// Ending is what a speaker does to its connection after its bytes.
type Ending uint8

// The endings.
const (
	Stay      Ending = iota
	HalfClose        // shutdown of the sending direction; the other end reads to the end and goes on
	Close            // close; nothing comes after
	Reset            // close with a RST; nothing comes after
)

// Step is what one end says while the other listens. The listener reads exactly these bytes before it goes on.
type Step struct {
	From  Speaker
	Bytes []byte
	Split int // bytes in one write; 0: all in one
	End   Ending
}

// Want is what one playing of the script counts, at either end.
type Want struct {
	Method string
	Route  string // "" stands for any route
	Code   int    // 0: the connection ended before a response
	Cut    bool   // the connection ended before the response was whole
	Count  int
}

// Script is a whole conversation. It is played Repeat times on each connection, unless a step ends the connection.
type Script struct {
	Name  string
	Steps []Step
	Send  string // how both ends write: one of SendCalls; "" is write
	Read  string // how both ends read: one of ReadCalls; "" is read
	Piece int    // bytes asked for by one read; 0: as many as come
	Once  bool   // the connection cannot be used again after one playing
	Want  []Want
	Loose bool // malformed: what is counted is not laid down, only that nothing breaks and that bytes are right
}

// Volume is how many bytes one playing sends each way.
func (s Script) Volume() (toServer, toClient int) {
	for _, step := range s.Steps {
		if step.From == Client {
			toServer += len(step.Bytes)
		} else {
			toClient += len(step.Bytes)
		}
	}
	return toServer, toClient
}

// Ends reports whether a step ends the connection, so that the script cannot be played twice on it.
func (s Script) Ends() bool {
	if s.Once {
		return true
	}
	for _, step := range s.Steps {
		if step.End != Stay {
			return true
		}
	}
	return false
}

// Find returns the script of that name.
func Find(name string) (Script, bool) {
	for _, s := range Scripts() {
		if s.Name == name {
			return s, true
		}
	}
	return Script{}, false
}
