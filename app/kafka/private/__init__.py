"""More uses of private names of aiokafka, each with a test (see `app.kafka.faust_private`)."""
