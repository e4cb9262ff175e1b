package nexmark;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.LookupTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.connector.source.abilities.SupportsProjectionPushDown;
import org.apache.flink.table.connector.source.lookup.LookupFunctionProvider;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.LookupFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;

/**
 * The connector {@code columns}: scans a table's column files, reading only the columns that the query uses; and, for the side
 * table of q13 (key, value, with key i in row i), looks a row up in memory.
 */
public final class ColumnsTable implements DynamicTableSourceFactory {
    private static final ConfigOption<String> PATH = ConfigOptions.key("path").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "columns";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(PATH);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Scan(helper.getOptions().get(PATH), context.getPhysicalRowDataType());
    }

    private static final class Scan implements ScanTableSource, LookupTableSource, SupportsProjectionPushDown {
        private final String folder;
        private DataType produced;

        Scan(String folder, DataType produced) {
            this.folder = folder;
            this.produced = produced;
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
            List<Boolean> isString = DataType.getFieldDataTypes(produced).stream()
                    .map(type -> type.getLogicalType().is(LogicalTypeRoot.VARCHAR))
                    .toList();
            return SourceProvider.of(new ColumnsSource(folder, DataType.getFieldNames(produced), isString));
        }

        @Override
        public LookupRuntimeProvider getLookupRuntimeProvider(LookupContext context) {
            return LookupFunctionProvider.of(new Lookup(folder));
        }

        @Override
        public boolean supportsNestedProjection() {
            return false;
        }

        @Override
        public void applyProjection(int[][] projected, DataType type) {
            this.produced = type;
        }

        @Override
        public DynamicTableSource copy() {
            return new Scan(folder, produced);
        }

        @Override
        public String asSummaryString() {
            return "columns";
        }
    }

    /** Row i of the side table for key i; all rows are built when the job opens. */
    public static final class Lookup extends LookupFunction {
        private final String folder;
        private transient List<RowData>[] rows;

        Lookup(String folder) {
            this.folder = folder;
        }

        @Override
        @SuppressWarnings("unchecked")
        public void open(FunctionContext context) {
            try {
                ColumnFiles files = new ColumnFiles(folder);
                ColumnsRow cursor = new ColumnsRow(files, List.of("key", "value"), List.of(false, true));
                rows = new List[Math.toIntExact(files.rows())];
                for (int i = 0; i < rows.length; i++) {
                    cursor.at(i);
                    rows[i] = List.of(GenericRowData.of(
                            cursor.getLong(0), StringData.fromString(cursor.getString(1).toString())));
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        @Override
        public Collection<RowData> lookup(RowData key) {
            long at = key.getLong(0);
            return at >= 0 && at < rows.length ? rows[(int) at] : List.of();
        }
    }
}
