package nexmark;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.functions.ScalarFunction;

/** How often an ASCII character occurs in a string (q14); it looks at the bytes as they lie. */
public final class CountChar extends ScalarFunction {
    public long eval(
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData text,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData character) {
        BinaryStringData string = (BinaryStringData) text;
        byte wanted = ((BinaryStringData) character).byteAt(0);
        long count = 0;
        for (int i = 0, n = string.getSizeInBytes(); i < n; i++) {
            if (string.byteAt(i) == wanted) {
                count++;
            }
        }
        return count;
    }
}
