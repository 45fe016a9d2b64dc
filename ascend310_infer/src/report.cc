#include "report.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>

namespace {
// The smallest value that at least `share` of the sorted values do not exceed.
double Percentile(const std::vector<double> &sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}
}  // namespace

std::string Report::ToText() const {
  std::vector<double> sorted = predict_ms;
  std::sort(sorted.begin(), sorted.end());
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << "count " << sorted.size() << "\nbuild_ms " << build_ms << "\n";
  if (!sorted.empty()) {
    const double total = std::accumulate(sorted.begin(), sorted.end(), 0.0);
    text << "mean_ms " << total / static_cast<double>(sorted.size()) << "\np50_ms " << Percentile(sorted, 0.5)
         << "\np95_ms " << Percentile(sorted, 0.95) << "\naudio_seconds_per_second " << audio_seconds / total * 1000
         << "\n";
  }
  return text.str();
}
