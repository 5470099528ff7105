package protocol

// Table lists all protocols in the order in which they are asked.
func Table() []Protocol {
	return []Protocol{}
}
