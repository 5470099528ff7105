package protocol

// MemcachedWords are the names for Memcached's text and meta commands, the same as its Conn gives.
func MemcachedWords() Words {
	w := Words{Operations: []string{"~other"}, Commands: map[string]Word{}, Answers: map[string]Word{}}
	for operation, kind := range memcachedCommands {
		w.Commands[operation] = memcachedWord(operation, kind, uint16(len(w.Operations)))
		w.Operations = append(w.Operations, operation)
	}
	words := make([]string, answerAll+1)
	for _, word := range memcachedAnswers {
		w.Answers[word] = Word{Number: uint16(len(words))}
		words = append(words, word)
	}
	w.Answers["END"] = Word{Number: answerNothing}
	w.Answers["VALUE"] = Word{Kind: WordValue, Field: 3}
	w.Answers["VA"] = Word{Number: w.Answers["VA"].Number, Kind: WordStore, Field: 1}
	w.Answers["STAT"] = Word{Kind: WordBack}
	w.Outcome = func(operation string, answer uint32) (string, bool) {
		switch answer {
		case 0:
			return "", false
		case answerNothing, answerSome, answerAll:
			return memcachedStatus(operation, "END", int(answer-answerNothing), int(answerAll-answerNothing))
		}
		return memcachedStatus(operation, words[min(int(answer), len(words)-1)], 0, 0)
	}
	return w
}

// memcachedAnswers are the first words of answers that say more than that the command was done.
var memcachedAnswers = []string{
	"STORED", "NOT_STORED", "EXISTS", "NOT_FOUND", "DELETED", "TOUCHED", "BUSY", "ERROR", "CLIENT_ERROR", "SERVER_ERROR",
	"BADCLASS", "NOSPARE", "NOTFULL", "UNSAFE", "SAME", "HD", "VA", "EN", "NF", "NS", "EX",
}

func memcachedWord(operation string, kind memcachedKind, number uint16) Word {
	w := Word{Number: number, Kind: WordBack}
	switch kind {
	case memcachedRead:
		w.Kind, w.Field = WordRead, 1
		if operation[1] == 'a' { // gat has the expiry time first
			w.Field = 2
		}
	case memcachedStore:
		w.Kind, w.Field = WordStore, 4
	case memcachedMeta:
		w.Kind, w.Field = WordMeta, 2
		if operation == "ms" {
			w.Kind = WordMetaStore
		}
	case memcachedPlain:
		switch operation {
		case "delete", "incr", "decr", "touch", "flush_all", "version", "verbosity": // what the others answer is not always one line
			w.Kind, w.Field = WordPlain, uint8(memcachedNoreply(operation, kind))
		}
	}
	return w
}
