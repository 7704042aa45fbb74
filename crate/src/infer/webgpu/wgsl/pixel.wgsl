// Where value `value` of the patch that is token row `row` lies in [batch, channel, row, column].
fn pixel(row: u32, value: u32) -> u32 {
  let token = row % PATCHES;
  let channel = value % CHANNELS;
  let y = token / SIDE * PATCH + value / CHANNELS / PATCH;
  let x = token % SIDE * PATCH + value / CHANNELS % PATCH;
  return ((row / PATCHES * CHANNELS + channel) * SIZE + y) * SIZE + x;
}
