// Package connect says how to reach a cluster: brokers, TLS, SASL, and where these settings come from.
//
// Settings is what a program fills in, or Load fills in from a YAML file overlaid by the environment; Settings.Opts turns
// it into options of the Kafka client. CheckOwned refuses client options that a part of Waybill must set itself.
//
// Producer, consumer and the commands call it; so may any program that wants its own section in the same file. It opens
// no connection, starts no goroutine and keeps no state: the only files read are those that the settings name.
package connect
