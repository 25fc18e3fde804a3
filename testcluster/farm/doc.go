// Package farm is the receivers that tests deliver to: real HTTP and SMTP
// servers, each of them with a fault that may come and go, on loopback or on
// whatever network Listen gives.
//
// It owns what receivers do wrong, what they take (cheaply enough for hundreds
// of thousands), and what must hold of it: that one alert state has one key,
// that a key always stands for the same, and what a receiver in the end believes.
//
// It never looks at the sender: what was owed is the test's to say.
package farm
