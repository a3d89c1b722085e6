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
 *      8  4  CRC-32C of the stored columns
 *     12  4  records          (index: totals)
 *     16  4  events           (index: 0)
 *     20  4  distinct pages   (index: 0)
 *     24  4  distinct shapes, at most 255 (index: 0)
 *     28  4  0
 *     32  8  accesses         (index: 0)
 *     40  8  time of the first item (index: 0)
 *     48 28  stored bytes of each of the seven columns
 *     76 16  bytes of the columns items, pages, shapes and overflow themselves; the other three have one for each record
 *     92  4  CRC-32C of the 92 bytes before
 *     96  .. the stored columns, one behind the other
 *
 * A column is stored as one zstd frame, or as it is when its stored bytes are as many as its bytes.
 *
 * columns of a frame, the records in the order of the trace
 *     items      what happened, in order, see below
 *     pages      the distinct pages of the frame in ascending order: varint of the first, then of each difference
 *     low, high  of each record, the position of its page in that list: the lower byte, and the higher one; high is
 *                empty when there are no more than 256 pages
 *     shapes     the meta words of the frame (what a record says beside its page), the most frequent first, varints
 *     codes      of each record, the position of its meta word in that list; 255: the next of the overflow
 *     overflow   meta words that are not in the list, varints in the order of their records
 *
 * The index has one column, items.
 *
 * an item
 *     varint     0 = a batch of accesses, 1 + enum ps_event_kind = an event
 *     varint     task
 *     varint     time since the end of the previous item (in the first of a frame: 0)
 *     batch:     varint records, varint span
 *     event:     the fields of its kind (enum ps_event_field), lowest bit first; numbers as varints, OTHER as task + 1
 *                (0 = none), ADVICE as is, NAME as a varint length and bytes
 *
 * the index's column: for each frame 6 varints: bytes stored (with the head), bytes of its columns, records, events,
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
#define PGT_SECTION_BYTES 96
#define PGT_FOOTER_BYTES  32

#define PGT_FRAME_MAGIC  0x4d415246u /* FRAM */
#define PGT_INDEX_MAGIC  0x58444e49u /* INDX */
#define PGT_FOOTER_MAGIC 0x4c494154u /* TAIL */

/* A frame is closed at this many records (so that a rank is two bytes), or when its items reach this many bytes. */
#define PGT_FRAME_RECORDS (1u << 16)
#define PGT_FRAME_ITEMS   (1u << 20)
/* No name is longer: an event always fits into a frame. */
#define PGT_NAME_MAX 65535u
/* What a reader refuses to allocate for one column: no writer makes one of more than a fraction of this. */
#define PGT_COLUMN_MAX (1u << 25)

/* Shapes a frame can list, and the code of one that is not listed. */
#define PGT_SHAPES 255
#define PGT_ESCAPE 255

enum pgt_column { PGT_ITEMS, PGT_PAGES, PGT_LOW, PGT_HIGH, PGT_SHAPE_LIST, PGT_CODES, PGT_OVERFLOW, PGT_COLUMNS };

struct pgt_section {
	u32 magic;
	u32 number;
	u32 crc;
	u32 records;
	u32 events;
	u32 distinct;
	u32 shapes;
	u64 accesses;
	u64 time;
	u32 stored[PGT_COLUMNS];
	u32 raw[PGT_COLUMNS]; /* of low, high and codes not in the file: they follow from records and distinct */
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

/* Columns whose size is in the section's head. */
static const u8 pgt_sized[] = { PGT_ITEMS, PGT_PAGES, PGT_SHAPE_LIST, PGT_OVERFLOW };

/* Sizes of the columns that have a byte for each record. */
static inline void pgt_section_sizes(struct pgt_section *s)
{
	bool frame = s->magic == PGT_FRAME_MAGIC;

	s->raw[PGT_LOW] = s->raw[PGT_CODES] = frame ? s->records : 0;
	s->raw[PGT_HIGH] = frame && s->distinct > 256 ? s->records : 0;
}

static inline void pgt_section_encode(const struct pgt_section *s, u8 *p)
{
	memset(p, 0, PGT_SECTION_BYTES);
	pgt_put32(p, s->magic);
	pgt_put32(p + 4, s->number);
	pgt_put32(p + 8, s->crc);
	pgt_put32(p + 12, s->records);
	pgt_put32(p + 16, s->events);
	pgt_put32(p + 20, s->distinct);
	pgt_put32(p + 24, s->shapes);
	pgt_put64(p + 32, s->accesses);
	pgt_put64(p + 40, s->time);
	for (int c = 0; c < PGT_COLUMNS; c++)
		pgt_put32(p + 48 + 4 * c, s->stored[c]);
	for (size_t i = 0; i < ARRAY_SIZE(pgt_sized); i++)
		pgt_put32(p + 76 + 4 * i, s->raw[pgt_sized[i]]);
}

static inline void pgt_section_decode(struct pgt_section *s, const u8 *p)
{
	s->magic = pgt_get32(p);
	s->number = pgt_get32(p + 4);
	s->crc = pgt_get32(p + 8);
	s->records = pgt_get32(p + 12);
	s->events = pgt_get32(p + 16);
	s->distinct = pgt_get32(p + 20);
	s->shapes = pgt_get32(p + 24);
	s->accesses = pgt_get64(p + 32);
	s->time = pgt_get64(p + 40);
	for (int c = 0; c < PGT_COLUMNS; c++)
		s->stored[c] = pgt_get32(p + 48 + 4 * c);
	for (size_t i = 0; i < ARRAY_SIZE(pgt_sized); i++)
		s->raw[pgt_sized[i]] = pgt_get32(p + 76 + 4 * i);
	pgt_section_sizes(s);
}

/* Whether a meta word is one a writer would write. */
static inline bool pgt_meta_valid(u32 meta)
{
	if (!ps_meta_count(meta))
		return false;
	if (ps_meta_is_fetch(meta))
		return !(meta & (PS_META_WRITES_MASK | PS_META_FIRST_WRITE));
	return meta == ps_meta_data(ps_meta_reads(meta), ps_meta_writes(meta), ps_meta_first_is_write(meta));
}

#endif
