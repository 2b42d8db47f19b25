package cpim

import (
	"testing"
)

const typicalMessage = "From: MR SANDERS <im:piglet@100akerwood.com>\r\n" +
	"To: Depressed Donkey <im:eeyore@100akerwood.com>\r\n" +
	"DateTime: 2000-12-13T13:40:00-08:00\r\n" +
	"Subject: the weather will be fine today\r\n" +
	"NS: imdn <urn:ietf:params:imdn>\r\n" +
	"imdn.Message-ID: 34jk324j\r\n" +
	"imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n" +
	"\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"\r\n" +
	"Here is the text of my message, long enough."

func BenchmarkParseMessage(b *testing.B) {
	in := []byte(typicalMessage)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(in, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
