/* SPDX-License-Identifier: MIT */
/*
 * The layout of a `.pgt` file, shared by its writer and its reader. Numbers are little-endian; a varint is 7 bits a byte,
 * lowest first, the top bit saying that more follow, at most 10 bytes.
 *
 *    header | frame | frame | ... | index | footer
 *
 * header (once)
 *      0  8  magic 89 50 47 54 0d 0a 1a 0a           (a transfer as text, or with 7 bits, breaks it)
 *      8  2  version                                 (a reader refuses newer ones before looking at anything else)
 *     10  2  clock, enum ps_trace_clock
 *     12  4  length of the header in bytes, checksum included
 *     16  4  page size, 4096
 *     20  4  folding distance
 *     24  .. source, command, created-by, note: each a u32 length and that many bytes of UTF-8
 *    end  4  CRC-32C of everything before
 *
 * section (each frame, and the index)
 *      0  4  magic: "FRAM" or "INDX"
 *      4  4  number: frames count from 0; of the index, the number of frames
 *      8  4  stored bytes of the payload: one zstd frame
 *     12  4  bytes of the payload when decompressed
 *     16  4  CRC-32C of the stored payload
 *     20  4  records          (index: totals)
 *     24  4  events           (index: 0)
 *     28  4  distinct pages   (index: 0)
 *     32  4  bytes of items   (index: 0)
 *     36  4  bytes of the page list (index: 0)
 *     40  8  accesses         (index: 0)
 *     48  8  time of the first item (index: 0)
 *     56  4  0
 *     60  4  CRC-32C of the 60 bytes before
 *     64  .. stored payload
 *
 * payload of a frame: six columns, one behind the other
 *     items      what happened, in order, see below
 *     pages      the distinct pages of the frame in ascending order: varint of the first, then of each difference
 *     ranks      of each record, the position of its page in that list: one byte plane (lowest bytes of all records),
 *                a second one if there are more than 256 distinct pages, a third if more than 65536
 *     reads      of each record a byte: reads or fetches; 255 = the next varint of the overflow
 *     writes     of each record a byte: 2 * writes + (first access is a write); 254 = a fetch record;
 *                255 = the next varint of the overflow holds that value
 *     overflow   varints: for each record in order its reads, then its writes, as far as they overflow
 *
 * an item
 *     varint     0 = a batch of accesses, 1 + enum ps_event_kind = an event
 *     varint     task
 *     varint     time since the end of the previous item (in the first of a frame: 0)
 *     batch:     varint records, varint span
 *     event:     the fields of its kind (enum ps_event_field), lowest bit first; numbers as varints, OTHER as task + 1
 *                (0 = none), ADVICE as is, NAME as a varint length and bytes
 *
 * payload of the index: for each frame 6 varints: bytes stored (section and payload), raw bytes, records, events,
 * accesses, time since the previous frame's time; then the totals: varint length and bytes of the name, varint value.
 *
 * footer (once)
 *      0  4  magic "TAIL"
 *      4  4  number of frames
 *      8  8  offset of the index section in the file
 *     16  8  offset of the footer in the file
 *     24  4  0
 *     28  4  CRC-32C of the 28 bytes before
 */
#ifndef TRACE_PGT_H
#define TRACE_PGT_H

#include <pagesim/trace_file.h>

#include <string.h>

#define PGT_MAGIC         "\x89PGT\r\n\x1a\n"
#define PGT_MAGIC_BYTES   8
#define PGT_HEADER_FIXED  24
#define PGT_HEADER_MAX    (1u << 20)
#define PGT_SECTION_BYTES 64
#define PGT_FOOTER_BYTES  32

#define PGT_FRAME_MAGIC  0x4d415246u /* FRAM */
#define PGT_INDEX_MAGIC  0x58444e49u /* INDX */
#define PGT_FOOTER_MAGIC 0x4c494154u /* TAIL */

/* A frame is closed at this many records, or when its items reach this many bytes. */
#define PGT_FRAME_RECORDS (1u << 17)
#define PGT_FRAME_ITEMS   (1u << 20)
/* No name is longer: an event always fits into a frame. */
#define PGT_NAME_MAX 65535u
/* What a reader refuses to allocate for: no writer makes payloads of more than a fraction of this. */
#define PGT_PAYLOAD_MAX (1u << 26)

#define PGT_ESCAPE 255
#define PGT_FETCH  254

struct pgt_section {
	u32 magic;
	u32 number;
	u32 stored;
	u32 raw;
	u32 crc;
	u32 records;
	u32 events;
	u32 distinct;
	u32 items;
	u32 pages;
	u64 accesses;
	u64 time;
};

static inline u32 pgt_get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return GUINT32_FROM_LE(v);
}

static inline u64 pgt_get64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, 8);
	return GUINT64_FROM_LE(v);
}

static inline void pgt_put32(u8 *p, u32 v)
{
	v = GUINT32_TO_LE(v);
	memcpy(p, &v, 4);
}

static inline void pgt_put64(u8 *p, u64 v)
{
	v = GUINT64_TO_LE(v);
	memcpy(p, &v, 8);
}

/* Bytes per rank for that many distinct pages. */
static inline u32 pgt_rank_bytes(u32 distinct)
{
	return distinct <= 256 ? 1 : distinct <= 65536 ? 2 : 3;
}

#define PGT_VARINT_MAX 10

/* Writes @v at @p, which has room for PGT_VARINT_MAX bytes. Return: where it ends. */
static inline u8 *pgt_put_varint(u8 *p, u64 v)
{
	for (; v > 127; v >>= 7)
		*p++ = (u8)(v | 128);
	*p++ = (u8)v;
	return p;
}

/* Reads at *@at, never beyond @end. Return: false when it is cut short or longer than 64 bits. */
static inline bool pgt_get_varint(const u8 **at, const u8 *end, u64 *ret)
{
	const u8 *p = *at;
	u64 v = 0;

	for (unsigned int shift = 0; p < end; shift += 7) {
		u8 b = *p++;

		if (shift == 63 && b > 1)
			return false;
		v |= (u64)(b & 127) << shift;
		if (b < 128) {
			*at = p;
			*ret = v;
			return true;
		}
	}
	return false;
}

static inline void pgt_section_encode(const struct pgt_section *s, u8 *p)
{
	memset(p, 0, PGT_SECTION_BYTES);
	pgt_put32(p, s->magic);
	pgt_put32(p + 4, s->number);
	pgt_put32(p + 8, s->stored);
	pgt_put32(p + 12, s->raw);
	pgt_put32(p + 16, s->crc);
	pgt_put32(p + 20, s->records);
	pgt_put32(p + 24, s->events);
	pgt_put32(p + 28, s->distinct);
	pgt_put32(p + 32, s->items);
	pgt_put32(p + 36, s->pages);
	pgt_put64(p + 40, s->accesses);
	pgt_put64(p + 48, s->time);
}

static inline void pgt_section_decode(struct pgt_section *s, const u8 *p)
{
	s->magic = pgt_get32(p);
	s->number = pgt_get32(p + 4);
	s->stored = pgt_get32(p + 8);
	s->raw = pgt_get32(p + 12);
	s->crc = pgt_get32(p + 16);
	s->records = pgt_get32(p + 20);
	s->events = pgt_get32(p + 24);
	s->distinct = pgt_get32(p + 28);
	s->items = pgt_get32(p + 32);
	s->pages = pgt_get32(p + 36);
	s->accesses = pgt_get64(p + 40);
	s->time = pgt_get64(p + 48);
}

#endif
