package protocol

// RedisWords are the names for Redis, the same as its Conn gives.
func RedisWords() Words {
	w := Words{Operations: []string{"~other"}, Commands: map[string]Word{}, Answers: map[string]Word{}}
	add := func(operation string, kind WordKind) {
		if redisSpecial(operation) {
			kind = WordBack
		}
		w.Commands[operation] = Word{Number: uint16(len(w.Operations)), Kind: kind}
		w.Operations = append(w.Operations, operation)
	}
	for operation := range redisCommands {
		if redisContainers[operation] == nil {
			add(operation, WordPlain)
		}
	}
	for container, subs := range redisContainers {
		add(container, WordSecond)
		w.Operations = append(w.Operations, container+" ~other")
		for second, operation := range subs {
			if second != "" {
				add(operation, WordPlain)
			}
		}
	}
	statuses := make([]string, answerAll+1)
	statuses[answerOK], statuses[answerOther] = "ok", "~other"
	for prefix := range redisErrors {
		w.Answers[prefix] = Word{Number: uint16(len(statuses))}
		statuses = append(statuses, prefix)
	}
	w.Outcome = func(_ string, answer uint32) (string, bool) {
		return statuses[min(int(answer), len(statuses)-1)], answer != answerOK
	}
	return w
}
