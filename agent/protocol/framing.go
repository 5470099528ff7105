package protocol

// Framing is how the messages of a protocol begin and end, for the kernel to leave out what nobody reads of them.
type Framing uint8

// The framings that the kernel knows, in the order of enum framing in bpf/include/types.h.
const (
	Unframed    Framing = iota
	FramedRESP          // lines, and values behind a line with their length: values of 256 bytes and more are left out
	FramedPG            // a letter and a length: rows and copied data are left out
	FramedMySQL         // a length and a number: rows and files are left out
	FramedKafka         // a length: while the ring is short of room, all but the first 4 KiB of a request and 1 KiB of an answer are left out
	FramedMongo         // likewise
)

// framedAfter is how many bytes of a connection are shown before the kernel is told how it is framed: most never show so many, and of some
// it knows by itself.
const framedAfter = 32 << 10

// Passer is a Conn that minds bytes which are left out. They are the rest of the message at hand, or whole messages that it does not need.
type Passer interface {
	// Pass lets n bytes of one direction go by that follow on b, which was not consumed yet. It returns false if it cannot go on behind
	// them. skip is as for Feed. at and emit are too.
	Pass(d Direction, b []byte, n int64, at int64, emit func(Exchange)) (skip int64, ok bool)
}

// framed decides whether the kernel is to be told how a connection is framed, or that what it took it for is wrong.
func (st *stream) framed(p *Piece) Decision {
	switch {
	case p.Passed > 0 && st.unfit:
		st.unfit, st.told = false, true
		return Whole
	case p.Passed > 0:
		st.told = true
	case st.told || st.framing == Unframed:
	default:
		if st.shown += int64(len(p.Data)); st.shown >= framedAfter {
			st.told = true
			return Frame
		}
	}
	return Keep
}
