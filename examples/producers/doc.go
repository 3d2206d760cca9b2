// Package producers holds the tests of the producers in other languages beside it: on a real Kafka they are held against
// producer.Producer. It holds tests and nothing else; nobody imports it. WAYBILL_KAFKA decides whether they run (see
// internal/realkafka), WAYBILL_PYTHON with which Python (see README.md).
package producers
