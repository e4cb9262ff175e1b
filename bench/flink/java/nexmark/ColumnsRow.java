package nexmark;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.apache.flink.core.memory.MemorySegment;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RawValueData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.types.RowKind;
import org.apache.flink.types.variant.Variant;

/**
 * A cursor over column files: one reused object whose fields are read where they lie, so that a column no operator asks for
 * costs nothing. Strings are views of the mapped file, not copies.
 */
final class ColumnsRow implements RowData {
    private final MemorySegment[] values;
    private final MemorySegment[] offsets;
    private final MemorySegment[][] strings;
    private int row;

    ColumnsRow(ColumnFiles files, List<String> names, List<Boolean> isString) {
        int arity = names.size();
        values = new MemorySegment[arity];
        offsets = new MemorySegment[arity];
        strings = new MemorySegment[arity][];
        try {
            for (int i = 0; i < arity; i++) {
                if (isString.get(i)) {
                    offsets[i] = files.offsets(names.get(i));
                    strings[i] = new MemorySegment[] {files.bytes(names.get(i))};
                } else {
                    values[i] = files.integers(names.get(i));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    ColumnsRow at(int row) {
        this.row = row;
        return this;
    }

    @Override
    public int getArity() {
        return values.length;
    }

    @Override
    public RowKind getRowKind() {
        return RowKind.INSERT;
    }

    @Override
    public void setRowKind(RowKind kind) {
        if (kind != RowKind.INSERT) {
            throw new UnsupportedOperationException("the generated tables hold inserts only");
        }
    }

    @Override
    public boolean isNullAt(int pos) {
        return false;
    }

    @Override
    public long getLong(int pos) {
        return values[pos].getLong(row << 3);
    }

    @Override
    public TimestampData getTimestamp(int pos, int precision) {
        return TimestampData.fromEpochMillis(values[pos].getLong(row << 3));
    }

    @Override
    public StringData getString(int pos) {
        int start = offsets[pos].getInt(row << 2);
        return BinaryStringData.fromAddress(strings[pos], start, offsets[pos].getInt((row + 1) << 2) - start);
    }

    private static UnsupportedOperationException noSuchType() {
        return new UnsupportedOperationException("the generated tables hold BIGINT, TIMESTAMP(3) and STRING only");
    }

    @Override
    public boolean getBoolean(int pos) {
        throw noSuchType();
    }

    @Override
    public byte getByte(int pos) {
        throw noSuchType();
    }

    @Override
    public short getShort(int pos) {
        throw noSuchType();
    }

    @Override
    public int getInt(int pos) {
        throw noSuchType();
    }

    @Override
    public float getFloat(int pos) {
        throw noSuchType();
    }

    @Override
    public double getDouble(int pos) {
        throw noSuchType();
    }

    @Override
    public DecimalData getDecimal(int pos, int precision, int scale) {
        throw noSuchType();
    }

    @Override
    public <T> RawValueData<T> getRawValue(int pos) {
        throw noSuchType();
    }

    @Override
    public byte[] getBinary(int pos) {
        throw noSuchType();
    }

    @Override
    public ArrayData getArray(int pos) {
        throw noSuchType();
    }

    @Override
    public MapData getMap(int pos) {
        throw noSuchType();
    }

    @Override
    public RowData getRow(int pos, int numFields) {
        throw noSuchType();
    }

    @Override
    public Variant getVariant(int pos) {
        throw noSuchType();
    }
}
