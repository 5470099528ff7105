package protocol

// Table lists all protocols in the order in which they are asked: those that cannot be mistaken for another first.
func Table() []Protocol {
	return []Protocol{
		HTTP2(), AMQP(), DNS(), Dubbo(), Cassandra(), ClickHouse(), MQTT(), NATS(),
		PostgreSQL(), MySQL(),
		Memcached(), Redis(),
		MongoDB(), Kafka(), ZooKeeper(), FoundationDB(),
	}
}
